"""The laptop: what stands in for Azure while you develop. `aos` never imports it."""
