"""What is measured on a GPU: a list of runs, their results, and the goals they are held against."""
