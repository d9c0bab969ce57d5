"""What spans and timing cost the code that they measure."""
