"""The Lightning shell round a method, and the run folder it fills."""
