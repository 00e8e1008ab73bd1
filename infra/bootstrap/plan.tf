# What a plan of one environment reads: the state, and each resource's settings; no object but the state.
data "aws_iam_policy_document" "read" {
  for_each = local.resources

  statement {
    sid       = "FindState"
    actions   = ["s3:ListBucket"]
    resources = ["arn:aws:s3:::${local.state_bucket}"]
  }

  statement {
    sid       = "ReadState"
    actions   = ["s3:GetObject"]
    resources = [each.value.state]
  }

  statement {
    sid = "ReadBuckets"
    actions = [
      "s3:GetAccelerateConfiguration",
      "s3:GetBucketAcl",
      "s3:GetBucketCORS",
      "s3:GetBucketLogging",
      "s3:GetBucketObjectLockConfiguration",
      "s3:GetBucketPolicy",
      "s3:GetBucketPublicAccessBlock",
      "s3:GetBucketRequestPayment",
      "s3:GetBucketTagging",
      "s3:GetBucketVersioning",
      "s3:GetBucketWebsite",
      "s3:GetEncryptionConfiguration",
      "s3:GetLifecycleConfiguration",
      "s3:GetReplicationConfiguration",
      "s3:ListBucket",
    ]
    resources = [each.value.bundles, each.value.data, each.value.logs]
  }

  statement {
    sid = "ReadFunction"
    actions = [
      "lambda:GetAlias",
      "lambda:GetFunction",
      "lambda:GetFunctionCodeSigningConfig",
      "lambda:GetFunctionUrlConfig",
      "lambda:ListVersionsByFunction",
    ]
    resources = [each.value.function, "${each.value.function}:*"]
  }

  statement {
    sid = "ReadRoles"
    actions = [
      "iam:GetRole",
      "iam:GetRolePolicy",
      "iam:ListAttachedRolePolicies",
      "iam:ListRolePolicies",
    ]
    resources = each.value.roles
  }

  statement {
    sid       = "ReadLogGroup"
    actions   = ["logs:DescribeSubscriptionFilters", "logs:ListTagsForResource"]
    resources = [each.value.log_group, "${each.value.log_group}:*"]
  }

  # AWS has no narrower resource for it: log groups are found by listing them.
  statement {
    sid       = "FindLogGroup"
    actions   = ["logs:DescribeLogGroups"]
    resources = ["arn:aws:logs:${var.region}:${var.account_id}:log-group:*"]
  }

  statement {
    sid       = "ReadDelivery"
    actions   = ["firehose:DescribeDeliveryStream", "firehose:ListTagsForDeliveryStream"]
    resources = [each.value.delivery]
  }

  statement {
    sid       = "ReadAlarms"
    actions   = ["cloudwatch:DescribeAlarms", "cloudwatch:ListTagsForResource"]
    resources = each.value.alarms
  }

  statement {
    sid       = "ReadDashboard"
    actions   = ["cloudwatch:GetDashboard"]
    resources = [each.value.dashboard]
  }

  statement {
    sid       = "ReadTopic"
    actions   = ["sns:GetTopicAttributes", "sns:ListTagsForResource"]
    resources = [each.value.topic]
  }

  statement {
    sid       = "ReadRule"
    actions   = ["events:DescribeRule", "events:ListTagsForResource", "events:ListTargetsByRule"]
    resources = [each.value.rule]
  }

  # Nothing of a connection but that a destination has it; who reads the token must be allowed something else.
  statement {
    sid       = "ReadDestination"
    actions   = ["events:DescribeApiDestination"]
    resources = concat(each.value.connection, each.value.destination)
  }
}

resource "aws_iam_role" "plan" {
  name               = "${var.name}-plan"
  description        = "Lets a pull request of ${var.owner}/${var.repository} plan."
  assume_role_policy = data.aws_iam_policy_document.trust["plan"].json
}

resource "aws_iam_role_policy" "plan" {
  for_each = local.resources
  name     = "read-${each.key}"
  role     = aws_iam_role.plan.name
  policy   = data.aws_iam_policy_document.read[each.key].json
}
