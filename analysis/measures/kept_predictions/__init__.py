"""A prediction that is kept: what of a step each part is to take, and the record of it in JSON."""
