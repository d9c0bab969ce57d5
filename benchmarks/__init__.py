"""How fast the analysis is, and what a span costs: measured, beside the goal, met or missed."""
