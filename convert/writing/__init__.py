"""Write the files: layout, rows quantised on all cores, partial files with a journal."""
