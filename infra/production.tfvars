environment               = "production"
log_retention_days        = 30
max_errors                = 0
max_latency_ms            = 1000
max_live_error            = 10
memory_mb                 = 1024
prediction_retention_days = 365
