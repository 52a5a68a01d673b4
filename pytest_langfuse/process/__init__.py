"""An application in a process of its own: started, watched, asked which of its observations were lost, and reaped."""
