"""How a model is run and recorded."""

from profiling.interrupts import end_starting_command

end_starting_command()
