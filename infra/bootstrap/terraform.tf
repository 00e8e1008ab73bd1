terraform {
  required_version = "~> 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # The bucket is made here; the README says how its own state comes into it.
  backend "s3" {
    encrypt      = true
    key          = "bootstrap/terraform.tfstate"
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
      ManagedBy = "terraform"
      Name      = "${var.name}-bootstrap"
    }
  }
}
