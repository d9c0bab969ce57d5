"""What a run would take after a change."""
