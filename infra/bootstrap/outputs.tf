output "data_role_arn" {
  description = "For the repository's variable AWS_DATA_ROLE."
  value       = aws_iam_role.data.arn
}

output "deploy_role_arns" {
  description = "Per environment, for the variable of that environment on GitHub."
  value       = { for environment, role in aws_iam_role.deploy : environment => role.arn }
}

output "monitor_role_arn" {
  description = "For the scheduled watch over the prediction log."
  value       = aws_iam_role.monitor.arn
}

output "plan_role_arn" {
  description = "For plans on pull requests."
  value       = aws_iam_role.plan.arn
}

output "state_bucket" {
  description = "For `terraform init -backend-config=bucket=...`."
  value       = aws_s3_bucket.state.bucket
}

output "sweep_role_arn" {
  description = "For the hourly end of machines that were left running."
  value       = aws_iam_role.sweep.arn
}
