resource "aws_iam_openid_connect_provider" "github" {
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

locals {
  repository_forms = {
    name   = "repo:${var.owner}/${var.repository}"
    number = "repo:${var.owner}@${var.owner_id}/${var.repository}@${var.repository_id}"
  }

  # What each role asks of the run that wants it. The roles for data and for plans are bound to environments, since
  # their workflows run for pull requests and for branches: only an environment gives these one exact subject, and one
  # that no other run has.
  contexts = merge(
    {
      data    = "environment:data"
      monitor = "ref:refs/heads/${var.default_branch}"
      plan    = "environment:plan"
      sweep   = "environment:runner"
    },
    { for environment in var.environments : "deploy-${environment}" => "environment:${environment}" },
  )
}

data "aws_iam_policy_document" "trust" {
  for_each = local.contexts

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::${var.account_id}:oidc-provider/token.actions.githubusercontent.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:sub"
      values   = [for form in var.subject_forms : "${local.repository_forms[form]}:${each.value}"]
    }
  }
}
