# The way of the alarm on the live error: its change of state -> rule -> destination -> the workflow that retrains.
locals {
  # A person makes the connection, which holds the token for GitHub; without it there is nothing of this.
  retraining = var.retrain_connection_arn == null ? 0 : 1
}

data "aws_iam_policy_document" "retraining_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceArn"
      values   = [local.rule_arn]
    }
  }
}

data "aws_iam_policy_document" "retraining" {
  statement {
    sid     = "StartRetraining"
    actions = ["events:InvokeApiDestination"]
    # AWS writes a number of its own behind the name, and its permissions leave it out.
    resources = [local.destination_arn, "${local.destination_arn}/*"]
  }
}

resource "aws_iam_role" "retraining" {
  count                = local.retraining
  name                 = "${local.prefix}-retraining"
  description          = "Tells GitHub that the live error of ${local.prefix} is too high."
  assume_role_policy   = data.aws_iam_policy_document.retraining_trust.json
  permissions_boundary = local.boundary_arn
}

resource "aws_iam_role_policy" "retraining" {
  count  = local.retraining
  name   = "retraining"
  role   = aws_iam_role.retraining[0].name
  policy = data.aws_iam_policy_document.retraining.json
}

resource "aws_cloudwatch_event_api_destination" "retraining" {
  count                            = local.retraining
  name                             = "${local.prefix}-retraining"
  description                      = "Where ${var.retrain_repository} listens for what should start retraining."
  connection_arn                   = var.retrain_connection_arn
  http_method                      = "POST"
  invocation_endpoint              = "https://api.github.com/repos/${var.retrain_repository}/dispatches"
  invocation_rate_limit_per_second = 1
}

resource "aws_cloudwatch_event_rule" "retraining" {
  count       = local.retraining
  name        = "${local.prefix}-retraining"
  description = "The alarm on the live error of ${local.prefix} goes off."

  event_pattern = jsonencode({
    source      = ["aws.cloudwatch"]
    detail-type = ["CloudWatch Alarm State Change"]
    detail = {
      alarmName = [aws_cloudwatch_metric_alarm.live_error.alarm_name]
      state     = { value = ["ALARM"] }
    }
  })
}

resource "aws_cloudwatch_event_target" "retraining" {
  count     = local.retraining
  rule      = aws_cloudwatch_event_rule.retraining[0].name
  target_id = "retraining"
  arn       = aws_cloudwatch_event_api_destination.retraining[0].arn
  role_arn  = aws_iam_role.retraining[0].arn

  input_transformer {
    input_paths = { alarm = "$.detail.alarmName" }
    # No jsonencode, which would write other characters for those around the name; AWS adds the quotes of a text.
    input_template = "{\"event_type\": \"retrain\", \"client_payload\": {\"alarm\": <alarm>}}"
  }

  # The monitor looks again tomorrow.
  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 3
  }

  depends_on = [aws_iam_role_policy.retraining]
}
