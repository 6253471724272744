"""What a run is once it is finished: result, identity, tags and environment."""
