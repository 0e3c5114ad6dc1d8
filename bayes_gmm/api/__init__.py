"""The verbs: each checks what it is given, calls the floors below, and labels what comes."""
