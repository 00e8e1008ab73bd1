terraform {
  required_version = "~> 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # Bucket, key and region are given to `terraform init`; the README has the command.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  # A plan made with the keys of another account ends before it reads anything.
  allowed_account_ids = [var.account_id]
  max_retries         = 3
  region              = var.region

  default_tags {
    tags = {
      Environment = var.environment
      ManagedBy   = "terraform"
      Name        = local.prefix
    }
  }
}
