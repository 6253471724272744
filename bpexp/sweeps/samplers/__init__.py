"""What proposes the jobs of a sweep from the results of earlier ones: searches and races."""
