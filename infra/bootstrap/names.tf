locals {
  state_bucket = "${var.name}-state-${var.account_id}"

  # What the root names the same way; a test holds the two against each other.
  resources = {
    for environment in var.environments : environment => {
      alarms = [
        for alarm in ["errors", "latency", "live-error"] :
        "arn:aws:cloudwatch:${var.region}:${var.account_id}:alarm:${var.name}-${environment}-${alarm}"
      ]
      boundary = "arn:aws:iam::${var.account_id}:policy/${var.name}-${environment}-boundary"
      bundles  = "arn:aws:s3:::${var.name}-${environment}-bundles-${var.account_id}"
      # AWS writes a number of its own behind the names of connections and destinations; its permissions leave it out.
      connection = [
        for end in ["", "/*"] :
        "arn:aws:events:${var.region}:${var.account_id}:connection/${var.name}-${environment}-retraining${end}"
      ]
      dashboard = "arn:aws:cloudwatch::${var.account_id}:dashboard/${var.name}-${environment}"
      data      = "arn:aws:s3:::${var.name}-${environment}-data-${var.account_id}"
      delivery  = "arn:aws:firehose:${var.region}:${var.account_id}:deliverystream/${var.name}-${environment}-predictions"
      destination = [
        for end in ["", "/*"] :
        "arn:aws:events:${var.region}:${var.account_id}:api-destination/${var.name}-${environment}-retraining${end}"
      ]
      function  = "arn:aws:lambda:${var.region}:${var.account_id}:function:${var.name}-${environment}"
      log_group = "arn:aws:logs:${var.region}:${var.account_id}:log-group:/aws/lambda/${var.name}-${environment}"
      logs      = "arn:aws:s3:::${var.name}-${environment}-logs-${var.account_id}"
      namespace = "${var.name}/${environment}"
      roles = [
        for role in ["delivery", "function", "retraining", "subscription"] :
        "arn:aws:iam::${var.account_id}:role/${var.name}-${environment}-${role}"
      ]
      rule  = "arn:aws:events:${var.region}:${var.account_id}:rule/${var.name}-${environment}-retraining"
      state = "arn:aws:s3:::${local.state_bucket}/${environment}/terraform.tfstate"
      topic = "arn:aws:sns:${var.region}:${var.account_id}:${var.name}-${environment}-alarms"
    }
  }
}
