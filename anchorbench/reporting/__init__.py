"""From the store to what people read: collected scores, artefacts, the report, the reference."""
