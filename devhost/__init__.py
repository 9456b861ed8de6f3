"""The laptop: the local replacement for Azure during development. `aos` never imports it. Entry
points: `up`, `laptop.Laptop`."""
