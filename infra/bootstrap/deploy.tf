# The most that a role made by the root may ever do, whatever a deploy writes into its policy.
data "aws_iam_policy_document" "boundary" {
  for_each = local.resources

  statement {
    sid       = "WriteOwnLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${each.value.log_group}:*"]
  }

  statement {
    sid       = "HandOn"
    actions   = ["firehose:PutRecord", "firehose:PutRecordBatch"]
    resources = [each.value.delivery]
  }

  statement {
    sid       = "FindLogsBucket"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [each.value.logs]
  }

  statement {
    sid       = "WritePredictions"
    actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    resources = ["${each.value.logs}/failures/*", "${each.value.logs}/predictions/*"]
  }

  statement {
    sid       = "StartRetraining"
    actions   = ["events:InvokeApiDestination"]
    resources = each.value.destination
  }
}

resource "aws_iam_policy" "boundary" {
  for_each    = local.resources
  name        = "${var.name}-${each.key}-boundary"
  description = "The most that a role of ${var.name}-${each.key} may do."
  policy      = data.aws_iam_policy_document.boundary[each.key].json
}

# Shape: what `terraform apply` of the root creates and changes. Nothing is deleted; that is for a person.
data "aws_iam_policy_document" "shape" {
  for_each = local.resources

  statement {
    sid       = "WriteState"
    actions   = ["s3:PutObject"]
    resources = [each.value.state]
  }

  statement {
    sid       = "LockState"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${each.value.state}.tflock"]
  }

  statement {
    sid = "ShapeBuckets"
    actions = [
      "s3:CreateBucket",
      "s3:PutBucketPolicy",
      "s3:PutBucketPublicAccessBlock",
      "s3:PutBucketTagging",
      "s3:PutBucketVersioning",
      "s3:PutEncryptionConfiguration",
      "s3:PutLifecycleConfiguration",
    ]
    resources = [each.value.bundles, each.value.data, each.value.logs]
  }

  statement {
    sid = "ShapeFunction"
    actions = [
      "lambda:CreateAlias",
      "lambda:CreateFunction",
      "lambda:CreateFunctionUrlConfig",
      "lambda:TagResource",
      "lambda:UpdateFunctionConfiguration",
      "lambda:UpdateFunctionUrlConfig",
    ]
    resources = [each.value.function, "${each.value.function}:*"]
  }

  statement {
    sid       = "TagRoles"
    actions   = ["iam:TagRole"]
    resources = each.value.roles
  }

  statement {
    sid       = "ShapeRolesWithinBoundary"
    actions   = ["iam:CreateRole", "iam:PutRolePolicy"]
    resources = each.value.roles

    condition {
      test     = "StringEquals"
      variable = "iam:PermissionsBoundary"
      values   = [each.value.boundary]
    }
  }

  statement {
    sid       = "HandRolesToServices"
    actions   = ["iam:PassRole"]
    resources = each.value.roles

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["events.amazonaws.com", "firehose.amazonaws.com", "lambda.amazonaws.com", "logs.amazonaws.com"]
    }
  }

  statement {
    sid = "ShapeLogGroup"
    actions = [
      "logs:CreateLogGroup",
      "logs:PutRetentionPolicy",
      "logs:PutSubscriptionFilter",
      "logs:TagResource",
    ]
    resources = [each.value.log_group, "${each.value.log_group}:*"]
  }

  statement {
    sid = "ShapeDelivery"
    actions = [
      "firehose:CreateDeliveryStream",
      "firehose:StartDeliveryStreamEncryption",
      "firehose:TagDeliveryStream",
      "firehose:UpdateDestination",
    ]
    resources = [each.value.delivery]
  }

  statement {
    sid       = "ShapeAlarms"
    actions   = ["cloudwatch:PutMetricAlarm", "cloudwatch:TagResource"]
    resources = each.value.alarms
  }

  statement {
    sid       = "ShapeDashboard"
    actions   = ["cloudwatch:PutDashboard"]
    resources = [each.value.dashboard]
  }

  statement {
    sid       = "ShapeTopic"
    actions   = ["sns:CreateTopic", "sns:SetTopicAttributes", "sns:TagResource"]
    resources = [each.value.topic]
  }

  statement {
    sid       = "ShapeRule"
    actions   = ["events:PutRule", "events:PutTargets", "events:TagResource"]
    resources = [each.value.rule]
  }

  # Whoever makes a destination must be allowed to for its connection as well; which stays a person's.
  statement {
    sid       = "ShapeDestination"
    actions   = ["events:CreateApiDestination", "events:UpdateApiDestination"]
    resources = concat(each.value.connection, each.value.destination)
  }
}

# Traffic: what a deploy does with a merged version.
data "aws_iam_policy_document" "traffic" {
  for_each = local.resources

  statement {
    sid       = "BringBundle"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${each.value.bundles}/*"]
  }

  statement {
    sid = "PublishAndShiftTraffic"
    actions = [
      "lambda:GetFunctionConfiguration",
      "lambda:PublishVersion",
      "lambda:UpdateAlias",
      "lambda:UpdateFunctionCode",
    ]
    resources = [each.value.function, "${each.value.function}:*"]
  }

  # Of the function's versions those that no longer serve; never the function itself, whose name has no such ending.
  statement {
    sid       = "RemoveOldVersions"
    actions   = ["lambda:DeleteFunction"]
    resources = ["${each.value.function}:*"]
  }

  # One deploy at a time: the lease goes when its holder ends.
  statement {
    sid       = "EndLease"
    actions   = ["s3:DeleteObject"]
    resources = ["${each.value.bundles}/deploy.lease"]
  }

  # AWS knows no resource for metrics.
  statement {
    sid       = "MeasureBake"
    actions   = ["cloudwatch:GetMetricStatistics"]
    resources = ["*"]
  }

  # By version, before traffic moves and while it proves itself.
  statement {
    sid       = "InvokeForReal"
    actions   = ["lambda:InvokeFunction"]
    resources = ["${each.value.function}:*"]
  }
}

resource "aws_iam_role" "deploy" {
  for_each           = local.resources
  name               = "${var.name}-deploy-${each.key}"
  description        = "Lets runs of ${var.owner}/${var.repository} in the environment ${each.key} deploy there."
  assume_role_policy = data.aws_iam_policy_document.trust["deploy-${each.key}"].json
}

resource "aws_iam_role_policy" "deploy_read" {
  for_each = local.resources
  name     = "read"
  role     = aws_iam_role.deploy[each.key].name
  policy   = data.aws_iam_policy_document.read[each.key].json
}

resource "aws_iam_role_policy" "deploy_shape" {
  for_each = local.resources
  name     = "shape"
  role     = aws_iam_role.deploy[each.key].name
  policy   = data.aws_iam_policy_document.shape[each.key].json
}

resource "aws_iam_role_policy" "deploy_traffic" {
  for_each = local.resources
  name     = "traffic"
  role     = aws_iam_role.deploy[each.key].name
  policy   = data.aws_iam_policy_document.traffic[each.key].json
}
