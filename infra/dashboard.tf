locals {
  # A row per metric: title, namespace, metric, statistic.
  graphs = [
    ["Requests", "AWS/Lambda", "UrlRequestCount", "Sum"],
    ["Errors", "AWS/Lambda", "Errors", "Sum"],
    ["Latency of the slowest percent", "AWS/Lambda", "UrlRequestLatency", "p99"],
    ["Throttled requests", "AWS/Lambda", "Throttles", "Sum"],
  ]
}

resource "aws_cloudwatch_dashboard" "model" {
  dashboard_name = local.prefix

  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type   = "alarm"
        x      = 0
        y      = 0
        width  = 24
        height = 3
        properties = {
          title  = "Alarms"
          alarms = [for alarm in local.alarms : alarm.arn]
        }
      }],
      [for place, graph in local.graphs : {
        type   = "metric"
        x      = place % 2 * 12
        y      = 3 + floor(place / 2) * 6
        width  = 12
        height = 6
        properties = {
          title   = graph[0]
          region  = var.region
          period  = 300
          stat    = graph[3]
          metrics = [[graph[1], graph[2], "FunctionName", local.live.FunctionName, "Resource", local.live.Resource]]
        }
      }],
      [{
        type   = "metric"
        x      = 0
        y      = 15
        width  = 24
        height = 6
        properties = {
          title   = "Live error"
          region  = var.region
          period  = 3600
          stat    = "Maximum"
          metrics = [[local.metric_namespace, "live_error"]]
          annotations = {
            horizontal = [{ label = "alarm", value = var.max_live_error }]
          }
        }
      }],
    )
  })
}
