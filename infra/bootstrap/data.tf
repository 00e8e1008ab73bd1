# What `dvc pull` and `dvc push` ask of a bucket. Nothing is deleted: versions name their bytes for good.
data "aws_iam_policy_document" "data" {
  statement {
    sid       = "ListStore"
    actions   = ["s3:ListBucket"]
    resources = [for names in local.resources : names.data]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${var.data_prefix}/*"]
    }
  }

  statement {
    sid       = "PullAndPush"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = [for names in local.resources : "${names.data}/${var.data_prefix}/*"]
  }
}

resource "aws_iam_role" "data" {
  name               = "${var.name}-data"
  description        = "Lets runs of ${var.owner}/${var.repository} in the environment data pull and push data and models."
  assume_role_policy = data.aws_iam_policy_document.trust["data"].json
}

resource "aws_iam_role_policy" "data" {
  name   = "store"
  role   = aws_iam_role.data.name
  policy = data.aws_iam_policy_document.data.json
}
