data "aws_iam_policy_document" "function_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "function" {
  statement {
    sid       = "WriteOwnLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.log_group_arn}:*"]
  }
}

resource "aws_iam_role" "function" {
  name                 = "${local.prefix}-function"
  description          = "What the function ${local.prefix} runs as."
  assume_role_policy   = data.aws_iam_policy_document.function_trust.json
  permissions_boundary = local.boundary_arn
}

resource "aws_iam_role_policy" "function" {
  name   = "function"
  role   = aws_iam_role.function.name
  policy = data.aws_iam_policy_document.function.json
}

resource "aws_cloudwatch_log_group" "function" {
  name              = "/aws/lambda/${local.prefix}"
  retention_in_days = var.log_retention_days
}

resource "aws_lambda_function" "model" {
  function_name = local.prefix
  description   = coalesce(var.release, "Answers with the model's predictions.")
  role          = aws_iam_role.function.arn
  handler       = var.handler
  runtime       = "python${var.python_version}"
  memory_size   = var.memory_mb
  timeout       = var.timeout_seconds
  filename      = var.bundle_file
  s3_bucket     = var.bundle_key == null ? null : aws_s3_bucket.bundles.bucket
  s3_key        = var.bundle_key
  publish       = true

  environment {
    variables = {
      METRICS_NAMESPACE = local.metric_namespace
    }
  }

  lifecycle {
    # The code is the deploy's; what is given here is only what the function is born with. The description says which
    # model a version holds.
    ignore_changes = [description, filename, s3_bucket, s3_key, s3_object_version, source_code_hash]
  }

  depends_on = [aws_cloudwatch_log_group.function, aws_iam_role_policy.function]
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  description      = "What callers reach; the deploy owns its version and weights."
  function_name    = aws_lambda_function.model.function_name
  function_version = aws_lambda_function.model.version

  lifecycle {
    # The deploy also keeps in the description what it must know of the one before it.
    ignore_changes = [description, function_version, routing_config]
  }
}

resource "aws_lambda_function_url" "live" {
  function_name      = aws_lambda_function.model.function_name
  qualifier          = aws_lambda_alias.live.name
  authorization_type = "AWS_IAM"
}
