variable "account_id" {
  description = "Number of the AWS account, 12 digits."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must have 12 digits."
  }
}

variable "data_prefix" {
  description = "Folder of the data bucket that the DVC remote lies in: s3://bucket/<data_prefix>."
  type        = string
  default     = "dvc"

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9_-]*$", var.data_prefix))
    error_message = "data_prefix must be one plain name, without slashes."
  }
}

variable "default_branch" {
  description = "Branch of the repository whose scheduled runs may read the prediction log."
  type        = string
  default     = "main"

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._/-]*$", var.default_branch))
    error_message = "default_branch must be a branch's plain name, without refs/heads/ , wildcards or colons."
  }

  validation {
    condition     = !startswith(var.default_branch, "refs/")
    error_message = "default_branch must be a branch's plain name, without refs/heads/ , wildcards or colons."
  }
}

variable "environments" {
  description = "Environments that live in this account."
  type        = set(string)
  default     = ["production", "staging"]

  validation {
    condition     = length(var.environments) > 0 && length(setsubtract(var.environments, ["production", "staging"])) == 0
    error_message = "environments must be production, staging or both."
  }
}

variable "name" {
  description = "What the names of all resources start with; the same as in the root."
  type        = string
  default     = "lifecycle"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name must have 3 to 20 small letters, digits and hyphens, and start with a letter."
  }
}

variable "owner" {
  description = "User or organisation that owns the repository on GitHub, in GitHub's own spelling."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9-]{0,37}[A-Za-z0-9])?$", var.owner))
    error_message = "owner must be a name on GitHub: letters, digits and hyphens, at most 39."
  }
}

variable "owner_id" {
  description = "Number of the owner on GitHub: gh api users/OWNER --jq .id"
  type        = string

  validation {
    condition     = can(regex("^[1-9][0-9]*$", var.owner_id))
    error_message = "owner_id must be a number, as GitHub says it."
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

variable "repository" {
  description = "Name of the repository on GitHub without its owner, in GitHub's own spelling."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]{1,100}$", var.repository))
    error_message = "repository must be a name on GitHub without the owner: letters, digits, dots, hyphens, underscores."
  }
}

variable "repository_id" {
  description = "Number of the repository on GitHub: gh api repos/OWNER/REPOSITORY --jq .id"
  type        = string

  validation {
    condition     = can(regex("^[1-9][0-9]*$", var.repository_id))
    error_message = "repository_id must be a number, as GitHub says it."
  }
}

variable "subject_forms" {
  description = "Forms of subject to trust: name (repositories from before July 2026) and number (those made or renamed since)."
  type        = set(string)
  default     = ["name", "number"]

  validation {
    condition     = length(var.subject_forms) > 0 && length(setsubtract(var.subject_forms, ["name", "number"])) == 0
    error_message = "subject_forms must be name, number or both."
  }
}
