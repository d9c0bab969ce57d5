"""The assignment's five questions, answered in sentences."""
