"""MANY RUNS: accounting, ladder, plan, sweep, records, laws, fit, forecast, report."""
