"""The tables of what threads of the host did, and the SQL that reads them."""
