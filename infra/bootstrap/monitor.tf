data "aws_iam_policy_document" "monitor" {
  statement {
    sid       = "ListLogs"
    actions   = ["s3:ListBucket"]
    resources = [for names in local.resources : names.logs]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["labels/*", "predictions/*"]
    }
  }

  statement {
    sid       = "ReadLogs"
    actions   = ["s3:GetObject"]
    resources = flatten([for names in local.resources : ["${names.logs}/labels/*", "${names.logs}/predictions/*"]])
  }

  # AWS knows no resource for metrics; the namespace narrows it.
  statement {
    sid       = "ReportLiveError"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = [for names in local.resources : names.namespace]
    }
  }
}

resource "aws_iam_role" "monitor" {
  name               = "${var.name}-monitor"
  description        = "Lets runs of ${var.owner}/${var.repository} on ${var.default_branch} read the prediction log and the labels."
  assume_role_policy = data.aws_iam_policy_document.trust["monitor"].json
}

resource "aws_iam_role_policy" "monitor" {
  name   = "logs"
  role   = aws_iam_role.monitor.name
  policy = data.aws_iam_policy_document.monitor.json
}
