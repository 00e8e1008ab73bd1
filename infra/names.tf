locals {
  prefix = "${var.name}-${var.environment}"

  # Written out, so that a plan shows every policy in full. The bootstrap's roles name the same ones.
  delivery_arn    = "arn:aws:firehose:${var.region}:${var.account_id}:deliverystream/${local.prefix}-predictions"
  destination_arn = "arn:aws:events:${var.region}:${var.account_id}:api-destination/${local.prefix}-retraining"
  function_arn    = "arn:aws:lambda:${var.region}:${var.account_id}:function:${local.prefix}"
  log_group_arn   = "arn:aws:logs:${var.region}:${var.account_id}:log-group:/aws/lambda/${local.prefix}"
  logs_arn        = "arn:aws:s3:::${local.prefix}-logs-${var.account_id}"
  rule_arn        = "arn:aws:events:${var.region}:${var.account_id}:rule/${local.prefix}-retraining"

  # Permissions that no role made here can exceed, whoever writes its policy; from the bootstrap.
  boundary_arn = "arn:aws:iam::${var.account_id}:policy/${local.prefix}-boundary"
}
