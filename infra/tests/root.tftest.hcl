mock_provider "aws" {
  # Runs only plan: what an apply makes here could not be taken away again, since the data are protected.
  override_during = plan

  mock_data "aws_iam_policy_document" {
    defaults = {
      json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
    }
  }

  mock_resource "aws_cloudwatch_event_api_destination" {
    defaults = {
      arn = "arn:aws:events:eu-central-1:123456789012:api-destination/mock/0123-abcd"
    }
  }

  mock_resource "aws_cloudwatch_metric_alarm" {
    defaults = {
      arn = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:mock"
    }
  }

  mock_resource "aws_iam_role" {
    defaults = {
      arn = "arn:aws:iam::123456789012:role/mock"
    }
  }

  mock_resource "aws_kinesis_firehose_delivery_stream" {
    defaults = {
      arn = "arn:aws:firehose:eu-central-1:123456789012:deliverystream/mock"
    }
  }

  mock_resource "aws_lambda_function" {
    defaults = {
      arn     = "arn:aws:lambda:eu-central-1:123456789012:function:mock"
      version = "1"
    }
  }

  mock_resource "aws_s3_bucket" {
    defaults = {
      arn = "arn:aws:s3:::mock"
    }
  }

  mock_resource "aws_sns_topic" {
    defaults = {
      arn = "arn:aws:sns:eu-central-1:123456789012:mock"
    }
  }
}

variables {
  account_id     = "123456789012"
  bundle_key     = "first.zip"
  environment    = "staging"
  max_live_error = 10
  python_version = "3.11"
}

run "shape" {
  command = plan

  assert {
    condition     = alltrue([for status in aws_s3_bucket_versioning.all : status.versioning_configuration[0].status == "Enabled"]) && length(aws_s3_bucket_versioning.all) == 3
    error_message = "Every bucket must keep versions."
  }

  assert {
    condition = length(aws_s3_bucket_public_access_block.all) == 3 && alltrue(flatten([
      for block in aws_s3_bucket_public_access_block.all :
      [block.block_public_acls, block.block_public_policy, block.ignore_public_acls, block.restrict_public_buckets]
    ]))
    error_message = "No bucket may be public."
  }

  assert {
    condition     = length(aws_s3_bucket_server_side_encryption_configuration.all) == 3 && length(aws_s3_bucket_policy.all) == 3
    error_message = "Every bucket must be encrypted, and reached over TLS only."
  }

  assert {
    condition     = join(" ", keys(aws_s3_bucket_lifecycle_configuration.kept)) == "bundles data"
    error_message = "Bundles and data must have a retention."
  }

  assert {
    condition     = alltrue([for kept in aws_s3_bucket_lifecycle_configuration.kept : alltrue([for rule in kept.rule : length(rule.expiration) == 0 && rule.noncurrent_version_expiration[0].noncurrent_days == 90])])
    error_message = "Current bundles, data and models must never expire, and former ones only after noncurrent_retention_days."
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.logs.rule : rule.expiration[0].days] == [365]
    error_message = "The prediction log must end after prediction_retention_days."
  }

  assert {
    condition     = aws_cloudwatch_log_group.function.retention_in_days == 30
    error_message = "The function's log must end after log_retention_days."
  }

  assert {
    condition     = aws_lambda_function.model.runtime == "python3.11" && aws_lambda_function.model.publish
    error_message = "The function must publish versions, and run on the Python of python_version."
  }

  assert {
    condition     = aws_lambda_function_url.live.authorization_type == "AWS_IAM" && aws_lambda_function_url.live.qualifier == "live"
    error_message = "The address must ask for a signature, and lead to the alias."
  }

  assert {
    condition = toset([aws_iam_role.delivery.permissions_boundary, aws_iam_role.function.permissions_boundary, aws_iam_role.subscription.permissions_boundary]) == toset([
      "arn:aws:iam::123456789012:policy/lifecycle-staging-boundary"
    ])
    error_message = "Every role must have the boundary."
  }

  assert {
    condition     = startswith(aws_kinesis_firehose_delivery_stream.predictions.extended_s3_configuration[0].prefix, "predictions/day=!{timestamp:yyyy-MM-dd}/")
    error_message = "The prediction log must be partitioned by day."
  }

  assert {
    condition     = aws_cloudwatch_log_subscription_filter.predictions.filter_pattern == "{ $.kind = \"prediction\" }"
    error_message = "Only predictions may be handed on."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.errors.dimensions.Resource == "lifecycle-staging:live" && aws_cloudwatch_metric_alarm.latency.dimensions.Resource == "lifecycle-staging:live"
    error_message = "The alarms must watch the alias."
  }

  assert {
    condition     = alltrue([for alarm in local.alarms : length(alarm.alarm_actions) == 1]) && length(output.alarm_names) == 3
    error_message = "Every alarm must speak to the topic."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.live_error.namespace == "lifecycle/staging"
    error_message = "The live error must come from the monitor's namespace."
  }

  assert {
    condition = 0 == sum([
      length(aws_cloudwatch_event_api_destination.retraining),
      length(aws_cloudwatch_event_rule.retraining),
      length(aws_cloudwatch_event_target.retraining),
      length(aws_iam_role.retraining),
      length(aws_iam_role_policy.retraining),
    ])
    error_message = "Without a connection nothing may start retraining."
  }

  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.model.dashboard_body).widgets) == 6
    error_message = "The dashboard must show the alarms and five graphs."
  }
}

run "alarm_starts_retraining" {
  command = plan

  variables {
    retrain_connection_arn = "arn:aws:events:eu-central-1:123456789012:connection/lifecycle-staging-retraining/0123-abcd"
    retrain_repository     = "Octo/model"
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.retraining[0].event_pattern) == {
      source      = ["aws.cloudwatch"]
      detail-type = ["CloudWatch Alarm State Change"]
      detail      = { alarmName = ["lifecycle-staging-live-error"], state = { value = ["ALARM"] } }
    }
    error_message = "The rule must be about the alarm on the live error alone, when it goes off."
  }

  assert {
    condition     = aws_cloudwatch_event_api_destination.retraining[0].invocation_endpoint == "https://api.github.com/repos/Octo/model/dispatches"
    error_message = "The destination must be the repository's."
  }

  assert {
    condition     = jsondecode(replace(aws_cloudwatch_event_target.retraining[0].input_transformer[0].input_template, "<alarm>", "\"a\"")) == { event_type = "retrain", client_payload = { alarm = "a" } }
    error_message = "GitHub must be told what happened, and of which alarm."
  }

  assert {
    condition     = aws_iam_role.retraining[0].permissions_boundary == "arn:aws:iam::123456789012:policy/lifecycle-staging-boundary"
    error_message = "The role must have the boundary."
  }
}

run "refuses_bad_values" {
  command = plan

  variables {
    account_id                = "12345"
    bundle_key                = "../up.zip"
    environment               = "test"
    handler                   = "handler"
    log_retention_days        = 1
    max_errors                = -1
    max_latency_ms            = 0
    max_live_error            = 0
    memory_mb                 = 127
    name                      = "ab"
    noncurrent_retention_days = 6
    prediction_retention_days = 29
    python_version            = "3.10"
    region                    = "Frankfurt"
    retrain_repository        = "model"
  }

  expect_failures = [
    var.account_id,
    var.bundle_key,
    var.environment,
    var.handler,
    var.log_retention_days,
    var.max_errors,
    var.max_latency_ms,
    var.max_live_error,
    var.memory_mb,
    var.name,
    var.noncurrent_retention_days,
    var.prediction_retention_days,
    var.python_version,
    var.region,
    var.retrain_repository,
  ]
}

run "refuses_other_bad_values" {
  command = plan

  variables {
    account_id                = "12345678901x"
    bundle_file               = "both.zip"
    environment               = "Staging"
    handler                   = "serve-it.handler"
    log_retention_days        = 31
    max_errors                = 0.5
    max_latency_ms            = 10001
    memory_mb                 = 10241
    name                      = "Model"
    prediction_retention_days = 30.5
    python_version            = "3.11.4"
    region                    = "eu-central-1a"
  }

  expect_failures = [
    var.account_id,
    var.bundle_file,
    var.environment,
    var.handler,
    var.log_retention_days,
    var.max_errors,
    var.max_latency_ms,
    var.memory_mb,
    var.name,
    var.prediction_retention_days,
    var.python_version,
    var.region,
  ]
}

run "refuses_more_bad_values" {
  command = plan

  variables {
    bundle_key                = null
    memory_mb                 = 128.5
    name                      = "a-name-that-is-far-too-long"
    noncurrent_retention_days = 7.5
    python_version            = "python3.11"
    timeout_seconds           = 901
  }

  expect_failures = [
    var.bundle_file,
    var.memory_mb,
    var.name,
    var.noncurrent_retention_days,
    var.python_version,
    var.timeout_seconds,
  ]
}

run "refuses_the_last_bad_values" {
  command = plan

  variables {
    bundle_key             = "first"
    retrain_connection_arn = "arn:aws:events:eu-central-1:123456789012:connection/another/0123-abcd"
    retrain_repository     = "Octo/model"
    timeout_seconds        = 0.5
  }

  expect_failures = [
    var.bundle_key,
    var.retrain_connection_arn,
    var.timeout_seconds,
  ]
}

run "refuses_a_connection_of_another_environment" {
  command = plan

  variables {
    retrain_connection_arn = "arn:aws:events:eu-central-1:123456789012:connection/lifecycle-production-retraining/0123-abcd"
    retrain_repository     = "Octo/model"
  }

  expect_failures = [
    var.retrain_connection_arn,
  ]
}

run "refuses_a_connection_without_a_repository" {
  command = plan

  variables {
    retrain_connection_arn = "arn:aws:events:eu-central-1:123456789012:connection/lifecycle-staging-retraining/0123-abcd"
  }

  expect_failures = [
    var.retrain_connection_arn,
  ]
}

run "refuses_a_repository_that_is_an_address" {
  command = plan

  variables {
    retrain_repository = "https://github.com/Octo/model"
  }

  expect_failures = [
    var.retrain_repository,
  ]
}
