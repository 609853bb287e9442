"""What a recipe will meet before it trains: how often the model solves its questions."""
