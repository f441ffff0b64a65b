"""The files written: layout, rows quantised on all cores, partial files with a journal."""
