"""Does the orchestrator do what the deployment plan says, whatever az answers?"""
