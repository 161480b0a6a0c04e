"""Between dialects, by way of one neutral vocabulary: a conversation on the way in, five events on the way out."""
