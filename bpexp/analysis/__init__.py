"""From runs to findings: groups over seeds, statistics, figures and the report."""
