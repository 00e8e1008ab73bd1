# The way of the prediction log: log group -> subscription -> delivery -> logs bucket, by day.
data "aws_iam_policy_document" "delivery_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["firehose.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = [var.account_id]
    }
  }
}

data "aws_iam_policy_document" "delivery" {
  statement {
    sid       = "FindLogsBucket"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [local.logs_arn]
  }

  statement {
    sid       = "WritePredictions"
    actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    resources = ["${local.logs_arn}/failures/*", "${local.logs_arn}/predictions/*"]
  }
}

resource "aws_iam_role" "delivery" {
  name                 = "${local.prefix}-delivery"
  description          = "Writes the prediction log of ${local.prefix}."
  assume_role_policy   = data.aws_iam_policy_document.delivery_trust.json
  permissions_boundary = local.boundary_arn
}

resource "aws_iam_role_policy" "delivery" {
  name   = "delivery"
  role   = aws_iam_role.delivery.name
  policy = data.aws_iam_policy_document.delivery.json
}

resource "aws_kinesis_firehose_delivery_stream" "predictions" {
  name        = "${local.prefix}-predictions"
  destination = "extended_s3"

  extended_s3_configuration {
    role_arn            = aws_iam_role.delivery.arn
    bucket_arn          = aws_s3_bucket.logs.arn
    prefix              = "predictions/day=!{timestamp:yyyy-MM-dd}/"
    error_output_prefix = "failures/!{firehose:error-output-type}/day=!{timestamp:yyyy-MM-dd}/"
    buffering_interval  = 300
    buffering_size      = 64
    compression_format  = "GZIP"

    # CloudWatch sends gzipped envelopes; what lies in the bucket are the function's own lines.
    processing_configuration {
      enabled = true

      processors {
        type = "Decompression"

        parameters {
          parameter_name  = "CompressionFormat"
          parameter_value = "GZIP"
        }
      }

      processors {
        type = "CloudWatchLogProcessing"

        parameters {
          parameter_name  = "DataMessageExtraction"
          parameter_value = "true"
        }
      }
    }
  }

  server_side_encryption {
    enabled  = true
    key_type = "AWS_OWNED_CMK"
  }

  depends_on = [aws_iam_role_policy.delivery]
}

data "aws_iam_policy_document" "subscription_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["logs.amazonaws.com"]
    }

    condition {
      test     = "StringLike"
      variable = "aws:SourceArn"
      values   = ["arn:aws:logs:${var.region}:${var.account_id}:*"]
    }
  }
}

data "aws_iam_policy_document" "subscription" {
  statement {
    sid       = "HandOn"
    actions   = ["firehose:PutRecord", "firehose:PutRecordBatch"]
    resources = [local.delivery_arn]
  }
}

resource "aws_iam_role" "subscription" {
  name                 = "${local.prefix}-subscription"
  description          = "Hands the log of ${local.prefix} on to the delivery."
  assume_role_policy   = data.aws_iam_policy_document.subscription_trust.json
  permissions_boundary = local.boundary_arn
}

resource "aws_iam_role_policy" "subscription" {
  name   = "subscription"
  role   = aws_iam_role.subscription.name
  policy = data.aws_iam_policy_document.subscription.json
}

resource "aws_cloudwatch_log_subscription_filter" "predictions" {
  name            = "predictions"
  log_group_name  = aws_cloudwatch_log_group.function.name
  destination_arn = aws_kinesis_firehose_delivery_stream.predictions.arn
  role_arn        = aws_iam_role.subscription.arn
  # The function says of each line in JSON what kind it is; all others stay behind.
  filter_pattern = "{ $.kind = \"prediction\" }"

  depends_on = [aws_iam_role_policy.subscription]
}
