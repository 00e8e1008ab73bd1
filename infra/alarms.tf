locals {
  # Lambda's names for what callers reach, whichever version answers.
  live = {
    FunctionName = aws_lambda_function.model.function_name
    Resource     = "${aws_lambda_function.model.function_name}:${aws_lambda_alias.live.name}"
  }

  # Where the function and the monitor report to.
  metric_namespace = "${var.name}/${var.environment}"

  alarms = [
    aws_cloudwatch_metric_alarm.errors,
    aws_cloudwatch_metric_alarm.latency,
    aws_cloudwatch_metric_alarm.live_error,
  ]
}

resource "aws_sns_topic" "alarms" {
  name = "${local.prefix}-alarms"
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "${local.prefix}-errors"
  alarm_description   = "More than ${var.max_errors} requests failed within five minutes."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = local.live
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.max_errors
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "latency" {
  alarm_name          = "${local.prefix}-latency"
  alarm_description   = "One request in a hundred took longer than ${var.max_latency_ms} ms, ten minutes on end."
  namespace           = "AWS/Lambda"
  metric_name         = "UrlRequestLatency"
  dimensions          = local.live
  extended_statistic  = "p99"
  period              = 300
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.max_latency_ms
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "live_error" {
  alarm_name          = "${local.prefix}-live-error"
  alarm_description   = "The error on labels that came later is above ${var.max_live_error}."
  namespace           = local.metric_namespace
  metric_name         = "live_error"
  statistic           = "Maximum"
  period              = 3600
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.max_live_error
  treat_missing_data  = "ignore"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}
