"""Reports, plans and errors as text, JSON and Markdown, for every front end."""
