"""HTML pages that need nothing else, and the figures in them: what all reports have in common."""
