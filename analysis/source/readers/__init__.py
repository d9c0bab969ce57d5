"""What reads the tables of a report: SQLite files, and folders of Parquet or Arrow files."""
