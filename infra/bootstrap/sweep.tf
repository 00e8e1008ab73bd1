data "aws_iam_policy_document" "sweep" {
  # AWS knows no resource for a list of machines.
  statement {
    sid       = "FindMachines"
    actions   = ["ec2:DescribeInstances"]
    resources = ["*"]
  }

  # The tag that lifecycle/machine.py gives to what it starts.
  statement {
    sid       = "EndMachines"
    actions   = ["ec2:TerminateInstances"]
    resources = ["arn:aws:ec2:${var.region}:${var.account_id}:instance/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/lifecycle-runner"
      values   = ["${var.owner}/${var.repository}"]
    }
  }
}

resource "aws_iam_role" "sweep" {
  name               = "${var.name}-sweep"
  description        = "Lets ${var.owner}/${var.repository} end machines that it left running."
  assume_role_policy = data.aws_iam_policy_document.trust["sweep"].json
}

resource "aws_iam_role_policy" "sweep" {
  name   = "machines"
  role   = aws_iam_role.sweep.name
  policy = data.aws_iam_policy_document.sweep.json
}
