"""Text, LaTeX and Markdown of everything that the package returns."""
