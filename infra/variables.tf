variable "account_id" {
  description = "Number of the AWS account, 12 digits."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must have 12 digits."
  }
}

variable "bundle_file" {
  description = "Local zip that the function is born with; later ones arrive by deploy. Give this or bundle_key."
  type        = string
  default     = null

  validation {
    condition     = (var.bundle_file == null) != (var.bundle_key == null)
    error_message = "Give bundle_file or bundle_key, and not both."
  }

  validation {
    condition     = var.bundle_file == null ? true : endswith(var.bundle_file, ".zip") && fileexists(var.bundle_file)
    error_message = "bundle_file must be a zip that is there."
  }
}

variable "bundle_key" {
  description = "Key in the bundles bucket of the zip that the function is born with. Give this or bundle_file."
  type        = string
  default     = null

  validation {
    condition     = var.bundle_key == null ? true : can(regex("^[A-Za-z0-9][A-Za-z0-9._/-]*\\.zip$", var.bundle_key))
    error_message = "bundle_key must be a plain key that ends in .zip."
  }
}

variable "environment" {
  description = "Which of the environments this is."
  type        = string

  validation {
    condition     = contains(["production", "staging"], var.environment)
    error_message = "environment must be production or staging."
  }
}

variable "handler" {
  description = "Function in the bundle that answers a request, as module.function."
  type        = string
  default     = "lifecycle.serve.handle"

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_]*(\\.[a-z_][a-z0-9_]*)+$", var.handler))
    error_message = "handler must have the form module.function."
  }
}

variable "log_retention_days" {
  description = "Days that the function's own log is kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([7, 14, 30, 60, 90, 120, 180, 365], var.log_retention_days)
    error_message = "log_retention_days must be 7, 14, 30, 60, 90, 120, 180 or 365."
  }
}

variable "max_errors" {
  description = "Errors within five minutes above which the alarm sounds."
  type        = number
  default     = 0

  validation {
    condition     = var.max_errors >= 0 && floor(var.max_errors) == var.max_errors
    error_message = "max_errors must be a whole number, 0 or more."
  }
}

variable "max_latency_ms" {
  description = "Milliseconds of the slowest percent of requests above which the alarm sounds."
  type        = number
  default     = 1000

  validation {
    condition     = var.max_latency_ms > 0 && var.max_latency_ms <= var.timeout_seconds * 1000
    error_message = "max_latency_ms must be above 0, and no more than timeout_seconds."
  }
}

variable "max_live_error" {
  description = "Live error, in the unit that the monitor reports it in, above which the alarm sounds."
  type        = number

  validation {
    condition     = var.max_live_error > 0
    error_message = "max_live_error must be above 0."
  }
}

variable "memory_mb" {
  description = "Memory of the function in MB; it has processors in proportion."
  type        = number
  default     = 1024

  validation {
    condition     = var.memory_mb >= 128 && var.memory_mb <= 10240 && floor(var.memory_mb) == var.memory_mb
    error_message = "memory_mb must be a whole number from 128 to 10240."
  }
}

variable "name" {
  description = "What the names of all resources start with; the same as in the bootstrap."
  type        = string
  default     = "lifecycle"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name must have 3 to 20 small letters, digits and hyphens, and start with a letter."
  }
}

variable "noncurrent_retention_days" {
  description = "Days that an overwritten or deleted object of the data and bundles buckets can be brought back."
  type        = number
  default     = 90

  validation {
    condition     = var.noncurrent_retention_days >= 7 && floor(var.noncurrent_retention_days) == var.noncurrent_retention_days
    error_message = "noncurrent_retention_days must be a whole number, 7 or more."
  }
}

variable "prediction_retention_days" {
  description = "Days that the prediction log is kept; labels that come later find no prediction."
  type        = number
  default     = 365

  validation {
    condition     = var.prediction_retention_days >= 30 && floor(var.prediction_retention_days) == var.prediction_retention_days
    error_message = "prediction_retention_days must be a whole number, 30 or more."
  }
}

variable "python_version" {
  description = "Version of Python that the model was trained with, from out/environment.json."
  type        = string

  validation {
    condition     = can(regex("^3\\.1[1-3]$", var.python_version))
    error_message = "python_version must be 3.11, 3.12 or 3.13, without the patch."
  }
}

variable "region" {
  description = "AWS region of everything."
  type        = string
  default     = "eu-central-1"

  validation {
    condition     = can(regex("^[a-z]{2}-[a-z]+-[1-9]$", var.region))
    error_message = "region must be a region's name, such as eu-central-1."
  }
}

variable "release" {
  description = "What a deploy writes of the bundle that the function is born with, so that it knows the version again."
  type        = string
  default     = null

  validation {
    condition     = var.release == null ? true : can(regex("^[^\\s@]+@[^\\s@]+ [0-9a-f]{12}$", var.release))
    error_message = "release must have the form model@v1.0.0 0123456789ab."
  }
}

variable "retrain_connection_arn" {
  description = "Connection to GitHub, made by a person, by which the alarm on the live error starts retraining; null = it does not."
  type        = string
  default     = null

  validation {
    # The bootstrap's roles know it by this name.
    condition     = var.retrain_connection_arn == null ? true : can(regex("^arn:aws:events:${var.region}:${var.account_id}:connection/${var.name}-${var.environment}-retraining/[0-9A-Za-z-]+$", var.retrain_connection_arn))
    error_message = "retrain_connection_arn must be the ARN of a connection of this account and region with the name ${var.name}-${var.environment}-retraining."
  }

  validation {
    condition     = var.retrain_connection_arn == null ? true : var.retrain_repository != null
    error_message = "Give retrain_repository with retrain_connection_arn."
  }
}

variable "retrain_repository" {
  description = "Repository on GitHub whose workflow retrains, as OWNER/NAME; needed with retrain_connection_arn."
  type        = string
  default     = null

  validation {
    condition     = var.retrain_repository == null ? true : can(regex("^[A-Za-z0-9]([A-Za-z0-9-]{0,37}[A-Za-z0-9])?/[A-Za-z0-9._-]{1,100}$", var.retrain_repository))
    error_message = "retrain_repository must be OWNER/NAME, as GitHub writes it."
  }
}

variable "timeout_seconds" {
  description = "Seconds after which an unanswered request is ended."
  type        = number
  default     = 10

  validation {
    condition     = var.timeout_seconds >= 1 && var.timeout_seconds <= 900 && floor(var.timeout_seconds) == var.timeout_seconds
    error_message = "timeout_seconds must be a whole number from 1 to 900."
  }
}
