# The DVC store: data and models of all versions.
resource "aws_s3_bucket" "data" {
  bucket = "${local.prefix}-data-${var.account_id}"

  lifecycle {
    prevent_destroy = true
  }
}

# The zips that a deploy brings to the function.
resource "aws_s3_bucket" "bundles" {
  bucket = "${local.prefix}-bundles-${var.account_id}"
}

# The prediction log.
resource "aws_s3_bucket" "logs" {
  bucket = "${local.prefix}-logs-${var.account_id}"
}

locals {
  buckets = {
    bundles = aws_s3_bucket.bundles.bucket
    data    = aws_s3_bucket.data.bucket
    logs    = aws_s3_bucket.logs.bucket
  }
}

resource "aws_s3_bucket_versioning" "all" {
  for_each = local.buckets
  bucket   = each.value

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "all" {
  for_each = local.buckets
  bucket   = each.value

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "all" {
  for_each = local.buckets
  bucket   = each.value

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

data "aws_iam_policy_document" "tls" {
  for_each = local.buckets

  statement {
    sid       = "RefuseUnencryptedTransport"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = ["arn:aws:s3:::${each.value}", "arn:aws:s3:::${each.value}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "all" {
  for_each = local.buckets
  bucket   = each.value
  policy   = data.aws_iam_policy_document.tls[each.key].json

  # S3 refuses two changes of a bucket's access at the same moment.
  depends_on = [aws_s3_bucket_public_access_block.all]
}

# What is current stays for good; what was overwritten or deleted can be brought back for a while.
resource "aws_s3_bucket_lifecycle_configuration" "kept" {
  for_each = { bundles = aws_s3_bucket.bundles.bucket, data = aws_s3_bucket.data.bucket }
  bucket   = each.value

  rule {
    id     = "noncurrent"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_retention_days
    }
  }

  depends_on = [aws_s3_bucket_versioning.all]
}

resource "aws_s3_bucket_lifecycle_configuration" "logs" {
  bucket = aws_s3_bucket.logs.bucket

  rule {
    id     = "retention"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }

    expiration {
      days = var.prediction_retention_days
    }

    # Nothing outlives its time.
    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }

  depends_on = [aws_s3_bucket_versioning.all]
}
