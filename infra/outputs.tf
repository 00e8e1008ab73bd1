output "alarm_names" {
  description = "Alarms to watch while a new version bakes."
  value       = [for alarm in local.alarms : alarm.alarm_name]
}

output "alarm_topic_arn" {
  description = "Topic that the alarms speak to; subscribe whoever should hear them."
  value       = aws_sns_topic.alarms.arn
}

output "alias_name" {
  description = "Alias whose version and weights the deploy sets."
  value       = aws_lambda_alias.live.name
}

output "bundles_bucket" {
  description = "Bucket for the zips that a deploy brings."
  value       = aws_s3_bucket.bundles.bucket
}

output "data_bucket" {
  description = "Bucket of the DVC store."
  value       = aws_s3_bucket.data.bucket
}

output "function_name" {
  description = "Name of the function."
  value       = aws_lambda_function.model.function_name
}

output "logs_bucket" {
  description = "Bucket of the prediction log."
  value       = aws_s3_bucket.logs.bucket
}

output "metric_namespace" {
  description = "Where the function reports latencies and errors by version to, and the monitor live_error."
  value       = local.metric_namespace
}

output "url" {
  description = "Address of the live alias; requests are signed."
  value       = aws_lambda_function_url.live.function_url
}
