"""Documents, tables and plots, and the file formats that they are rendered in."""
