mock_provider "aws" {
  # Runs only plan: what an apply makes here could not be taken away again, since the state is protected.
  override_during = plan

  mock_data "aws_iam_policy_document" {
    defaults = {
      json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
    }
  }
}

variables {
  account_id    = "123456789012"
  owner         = "Octo"
  owner_id      = "11"
  repository    = "model"
  repository_id = "22"
}

run "shape" {
  command = plan

  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled"
    error_message = "The state must keep versions."
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.state.block_public_acls,
      aws_s3_bucket_public_access_block.state.block_public_policy,
      aws_s3_bucket_public_access_block.state.ignore_public_acls,
      aws_s3_bucket_public_access_block.state.restrict_public_buckets,
    ])
    error_message = "The state must not be public."
  }

  assert {
    condition = alltrue([
      for rule in aws_s3_bucket_server_side_encryption_configuration.state.rule :
      rule.apply_server_side_encryption_by_default[0].sse_algorithm == "AES256"
    ])
    error_message = "The state must be encrypted."
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.state.rule : rule.noncurrent_version_expiration[0].noncurrent_days] == [365]
    error_message = "Former states must be kept for a year."
  }

  assert {
    condition     = aws_iam_openid_connect_provider.github.client_id_list == toset(["sts.amazonaws.com"])
    error_message = "Tokens must be for AWS alone."
  }

  assert {
    condition     = join(" ", keys(data.aws_iam_policy_document.trust)) == "data deploy-production deploy-staging monitor plan sweep"
    error_message = "There must be one role per level of trust."
  }
}

run "forms_of_subject_can_be_narrowed" {
  command = plan

  variables {
    subject_forms = ["number"]
  }

  assert {
    condition = alltrue(flatten([
      for document in data.aws_iam_policy_document.trust :
      [for subject in document.statement[0].condition[*].values : alltrue([for value in subject : !startswith(value, "repo:Octo/")])]
    ]))
    error_message = "A subject by name must not be trusted."
  }
}

run "environments_can_live_in_accounts_of_their_own" {
  command = plan

  variables {
    environments = ["staging"]
  }

  assert {
    condition     = keys(aws_iam_role.deploy) == ["staging"] && keys(aws_iam_role_policy.plan) == ["staging"]
    error_message = "Roles must name only what lives in this account."
  }
}

run "refuses_bad_values" {
  command = plan

  variables {
    account_id     = "12345"
    data_prefix    = "a/b"
    default_branch = "refs/heads/main"
    environments   = []
    name           = "ab"
    owner          = "Octo/model"
    owner_id       = "octo"
    region         = "Frankfurt"
    repository     = "Octo/model"
    repository_id  = "model"
    subject_forms  = []
  }

  expect_failures = [
    var.account_id,
    var.data_prefix,
    var.default_branch,
    var.environments,
    var.name,
    var.owner,
    var.owner_id,
    var.region,
    var.repository,
    var.repository_id,
    var.subject_forms,
  ]
}

run "refuses_other_bad_values" {
  command = plan

  variables {
    data_prefix    = "*"
    default_branch = "*"
    environments   = ["test"]
    name           = "Model"
    owner          = "*"
    owner_id       = "0"
    repository     = "mod*"
    repository_id  = ""
    subject_forms  = ["any"]
  }

  expect_failures = [
    var.data_prefix,
    var.default_branch,
    var.environments,
    var.name,
    var.owner,
    var.owner_id,
    var.repository,
    var.repository_id,
    var.subject_forms,
  ]
}

run "refuses_more_bad_values" {
  command = plan

  variables {
    data_prefix    = ""
    default_branch = "main:x"
    owner          = "octo@1"
    owner_id       = "1*"
    repository     = "model@2"
    repository_id  = "22/x"
  }

  expect_failures = [
    var.data_prefix,
    var.default_branch,
    var.owner,
    var.owner_id,
    var.repository,
    var.repository_id,
  ]
}
