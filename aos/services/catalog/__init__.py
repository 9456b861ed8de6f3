"""Publishes, reads and edits the card catalog. Entry points: `publisher.CatalogPublisher`,
`reader.CatalogReader`, `editor.CardEditor`."""
