environment               = "staging"
log_retention_days        = 7
max_errors                = 0
max_latency_ms            = 2000
max_live_error            = 10
memory_mb                 = 1024
prediction_retention_days = 30
