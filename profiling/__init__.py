"""How a model is run and recorded."""

from analysis.show.interrupts import end_starting_command

end_starting_command()
